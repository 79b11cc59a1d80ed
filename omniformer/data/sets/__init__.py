"""Data sets that people know by name, one file each; `omniformer.data` hands them out."""
