"""From somebody's data to a configuration: what they hold, what is guessed of them, what is proposed."""
