"""What people see while they wait, and in the end: bars, lines and tables."""
