"""The two database roles: the owner migrates, the application role does everything else.

The application role is neither owner nor superuser, so row level security can be enabled table by
table, and append-only tables are append-only for every process that serves or trades.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg import sql

# Tables whose rows are history: the application role may insert, but never update or delete.
APPEND_ONLY: Final = (
    "core_auditentry",
    "marketplace_templateversion",
    "partners_emailchange",
    "billing_ledgertransaction",
    "billing_ledgerentry",
    "billing_invoicedocument",
    "billing_creditnotedocument",
    "billing_receipt",
    "billing_payment",
    "billing_reversal",
    "billing_paymentreversal",
    "billing_creditnote",
    "billing_refund",
)


def grant_application_role(connection: Any, role: str, *, for_tests: bool = False) -> None:
    """Grant ``role`` its rights on the tables and sequences of schema public.

    ``connection`` is a Django connection of the owner. ``for_tests`` adds TRUNCATE, which the
    transactional tests need to empty tables between them.
    """
    name = sql.Identifier(role)
    rights = "SELECT, INSERT, UPDATE, DELETE" + (", TRUNCATE" if for_tests else "")
    with connection.cursor() as cursor:
        for statement in (
            "GRANT USAGE ON SCHEMA public TO {}",
            f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {{}}",
            "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {}",
        ):
            cursor.execute(sql.SQL(statement).format(name).as_string(cursor.connection))
        existing = set(connection.introspection.table_names(cursor))
        for table in existing.intersection(APPEND_ONLY):
            cursor.execute(
                sql.SQL("REVOKE UPDATE, DELETE ON {} FROM {}")
                .format(sql.Identifier(table), name)
                .as_string(cursor.connection)
            )
