"""What torch does, as data: who registers hooks, what each callable returns, which operations make the host wait."""
