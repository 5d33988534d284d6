"""Tests of testbed.host.noise on made-up files of /proc."""

from __future__ import annotations

from pathlib import Path

from testbed.host.noise import HostSample, between


def fake_proc(directory: Path, stat: str, pressure_us: int | None) -> Path:
    """A /proc with the two files that are read."""
    (directory / "pressure").mkdir(parents=True)
    (directory / "stat").write_text(f"cpu  {stat}\ncpu0 1 1 1 1\n", encoding="ascii")
    if pressure_us is not None:
        text = f"some avg10=0.72 avg60=1.59 avg300=1.39 total={pressure_us}\nfull avg10=0.00 total=0\n"
        (directory / "pressure" / "cpu").write_text(text, encoding="ascii")
    return directory


def test_host_noise_is_the_share_between_two_samples(tmp_path: Path) -> None:
    """Steal and busy are shares of all ticks, pressure is a share of the time."""
    begin = HostSample.take(fake_proc(tmp_path / "1", "100 0 0 100 0 0 0 0 0 0", 1_000_000))
    end = HostSample.take(fake_proc(tmp_path / "2", "150 0 0 140 0 0 0 10 0 0", 3_000_000))
    noise = between(
        begin, HostSample(begin.t_s + 4.0, end.pressure_us, end.steal_ticks, end.busy_ticks, end.total_ticks)
    )
    assert noise == {"duration_s": 4.0, "cpu_pressure_some": 0.5, "steal": 0.1, "busy": 0.6}


def test_a_host_without_pressure_figures_says_so(tmp_path: Path) -> None:
    """A missing figure is None and never 0."""
    sample = HostSample.take(fake_proc(tmp_path / "1", "1 0 0 1 0 0 0 0 0 0", None))
    assert between(sample, sample)["cpu_pressure_some"] is None
    assert between(sample, sample)["steal"] is None
