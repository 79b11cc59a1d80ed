"""A trained model behind HTTP: `omniformer serve RUN`, see docs/serving.md."""
