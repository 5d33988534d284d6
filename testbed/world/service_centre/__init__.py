"""The vendor's service centre of the bed: receives Call Home alerts over HTTPS, keeps them durably, and answers."""
