"""Pages that a browser shows by themselves: blocks of words, tables, pictures and samples, without any network."""
