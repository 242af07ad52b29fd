-- The second database beside Prefect's, on a server that is started for the first time.
CREATE DATABASE mlflow;
