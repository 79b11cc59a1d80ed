"""The files of a published model: where they come from, what is read of each, and what is kept to be written again."""
