"""Variables as the processes see them that may open Airflow's metadata database: those that run `dag.test`."""

from collections.abc import Sequence

from airflow.models.variable import Variable
from airflow.utils.session import create_session
from sqlalchemy import select


class MetadataDatabase:
    """A `variables.Store`."""

    def get(self, key: str) -> str | None:
        with create_session() as session:
            found = session.scalar(select(Variable).where(Variable.key == key))
            if found is None:
                return None
            text: str | None = found.get_val()
            if text is None:
                raise LookupError("it is there, but Airflow's Fernet key does not open it")
            return text

    def set(self, key: str, text: str, description: str) -> None:
        Variable.set(key, text, description=description)

    def delete(self, key: str) -> None:
        Variable.delete(key)

    def keys(self, prefix: str) -> Sequence[str]:
        with create_session() as session:
            return [key for key in session.scalars(select(Variable.key)) if key.startswith(prefix)]
