"""What the runs share: processes, the gateway under test, the bench of origins, expectations and the report."""
