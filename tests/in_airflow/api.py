"""Airflow's api-server in this process, and those who visit it."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

from in_airflow.home import PASSWORDS


def client(server: FastAPI, user: str | None = None) -> TestClient:
    """A visitor, logged in as that user; a stranger without one."""
    visitor = TestClient(server, base_url="http://localhost", follow_redirects=False)
    if user:
        login = {"username": user, "password": PASSWORDS[user]}
        token = visitor.post("/auth/token", json=login).json()["access_token"]
        visitor.headers["Authorization"] = f"Bearer {token}"
    return visitor
