"""MLflow. But for the models that MLflow loads, the only part of the library that imports mlflow, and only when it is used."""
