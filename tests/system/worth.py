"""The order of the system tests by their worth, what each takes, and which of them a green run cannot do without.

This is the one place for all three. A slow host begins at the top and says what it did not reach. The times are those
of a whole test on a host of speed 1 with dilation 1, the snapshot already made; `pytest --durations=0` shows them. All
of them together, `make check`, the histories and the image must fit into thirty minutes there.
"""

from __future__ import annotations

from tests.budget import Worth

TESTS = (
    Worth("test_catalogue.py::test_row[A1]", 80, required="the crash of the primary (row A1)"),
    Worth("test_catalogue.py::test_row[diskless_then_private_cut]", 120, required="a schedule with lost disks"),
    Worth("test_slow_host.py::test_a_crash_beside_one_busy_program_a_core_passes", 120),
    Worth("test_catalogue.py::test_row[D1]", 80),
    Worth("test_catalogue.py::test_row[P12-move]", 75),
    Worth("test_catalogue.py::test_row[H2]", 80),
    Worth("test_catalogue.py::test_row[B2]", 80),
    Worth("test_backup_crash.py::test_the_vm_goes_on_without_the_backup_and_is_protected_again", 60),
    Worth("test_primary_crash.py::test_a_vm_that_does_not_sync_before_it_acknowledges_fails_the_run", 80),
    Worth("test_primary_crash.py::test_a_fault_that_did_not_happen_is_never_green", 60),
    Worth("test_primary_crash.py::test_a_product_that_does_not_take_over_fails_the_run", 100),
    Worth("test_primary_crash.py::test_service_survives_the_crash_of_the_primary", 80),
    Worth("test_snapshot.py::test_a_damaged_snapshot_falls_back_to_a_cold_boot_and_is_counted", 60),
    Worth("test_catalogue.py::test_row[second_fault_during_recovery]", 100),
    Worth("test_catalogue.py::test_row[D2]", 80),
    Worth("test_image_integrity.py::test_nothing_is_corrupted_while_a_guest_runs_and_data_crosses_the_link", 100),
    Worth("test_report.py::test_report_is_one_clean_file", 10),
    Worth("test_report.py::test_report_shows_steps_and_picture_offline", 20),
    Worth("test_snapshot.py::test_ten_restores_in_a_row_pass_the_health_gate", 100),
)
