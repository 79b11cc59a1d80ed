"""What a model looks at, drawn for every modality."""
