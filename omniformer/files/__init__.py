"""Files: written so that they are whole or absent, and read as what a stranger may have made."""
