"""A trained run behind HTTP: a gallery of pictures, an API with limits, a page that uses it; and as a model of MLflow."""
