"""Statements about a session itself: which of them leave the meaning of what follows as it is.

search_path, DateStyle and others are harmless, since nothing is taken for certain that depends on them; roles, since
tables with row security are never written exactly.
"""

from google.protobuf.message import Message  # type: ignore[import-untyped]
from postgast import pg_query_pb2 as pg
from postgast import unwrap_node

from pgkeep.adapters.postgres.ddl.text import words

from .doubtful import Doubtful

HARMLESS = words("""
    application_name client_min_messages client_encoding search_path timezone datestyle intervalstyle bytea_output
    array_nulls lc_messages lc_monetary lc_numeric lc_time role session_authorization row_security
    statement_timeout lock_timeout transaction_timeout idle_in_transaction_session_timeout idle_session_timeout
    deadlock_timeout client_connection_check_interval tcp_keepalives_idle tcp_keepalives_interval
    tcp_keepalives_count tcp_user_timeout default_transaction_isolation default_transaction_read_only
    default_transaction_deferrable transaction_isolation transaction_read_only transaction_deferrable
    synchronous_commit commit_delay work_mem hash_mem_multiplier maintenance_work_mem temp_buffers temp_tablespaces
    default_tablespace effective_cache_size effective_io_concurrency random_page_cost seq_page_cost cpu_tuple_cost
    cpu_index_tuple_cost cpu_operator_cost parallel_setup_cost parallel_tuple_cost jit jit_above_cost
    from_collapse_limit join_collapse_limit geqo plan_cache_mode cursor_tuple_fraction default_statistics_target
    max_parallel_workers max_parallel_workers_per_gather max_parallel_maintenance_workers vacuum_cost_delay
    vacuum_cost_limit constraint_exclusion gin_fuzzy_search_limit check_function_bodies track_activities
    track_functions track_io_timing xmlbinary xmloption synchronize_seqscans quote_all_identifiers
""")
"""Settings that change nothing of what is taken for certain; values of type xml, say, never are."""
PLANNER = "enable_"
DIGITS = "extra_float_digits"


def check_setting(node: pg.VariableSetStmt) -> None:
    """Raises Doubtful for a setting that may change what later statements do, or what is logged of them."""
    name = str(node.name).lower()
    if name == "transaction snapshot":
        raise Doubtful("SET TRANSACTION SNAPSHOT: it sees what was there before it began")
    if node.kind in {pg.VAR_RESET_ALL, pg.VAR_SET_MULTI} or is_harmless(name):
        return
    if name == DIGITS and node.kind == pg.VAR_SET_VALUE and _digits(node) >= 1:
        return
    raise Doubtful(f"SET {name}")


def is_harmless(name: str) -> bool:
    """Whether that setting, in lower case, may have any value."""
    return name in HARMLESS or name.startswith(PLANNER) or "." in name


def _digits(node: pg.VariableSetStmt) -> int:
    value: Message = unwrap_node(node.args[0])
    return int(value.ival.ival) if isinstance(value, pg.A_Const) and value.HasField("ival") else 0
