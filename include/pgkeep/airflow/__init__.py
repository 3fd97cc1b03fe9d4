"""Airflow's view of pgkeep: the only room that knows Airflow. Nothing is imported here; every process loads this."""
