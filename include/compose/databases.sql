-- Run once by PostgreSQL's image, when its data directory is made: Airflow's own database, and the one to protect.
\set airflow `cat "$PGKEEP_SECRETS/airflow"`
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE shop;
