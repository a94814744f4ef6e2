"""States are written as GST codes: two digits, or nothing.

A letter code of ISO 3166-2:IN names one state and becomes its GST code. Whatever else stands there
is no state that anybody could be taxed in, and becomes empty: then invoices are withheld and the
customer is named, instead of being taxed somewhere. A row that the database does not take any
more for another reason (an e-mail of before 0003) stays as it is (0016 is NOT VALID).
"""

from __future__ import annotations

from django.db import migrations

#: ISO 3166-2:IN, with the codes that were replaced (CG, OR, TG, UT) and those of the territories.
LETTERS = {
    "JK": "01", "HP": "02", "PB": "03", "CH": "04", "UK": "05", "UT": "05", "HR": "06", "DL": "07",
    "RJ": "08", "UP": "09", "BR": "10", "SK": "11", "AR": "12", "NL": "13", "MN": "14", "MZ": "15",
    "TR": "16", "ML": "17", "AS": "18", "WB": "19", "JH": "20", "OD": "21", "OR": "21", "CG": "22",
    "CT": "22", "MP": "23", "GJ": "24", "DH": "26", "DN": "26", "DD": "26", "MH": "27", "KA": "29",
    "GA": "30", "LD": "31", "KL": "32", "TN": "33", "PY": "34", "AN": "35", "TG": "36", "TS": "36",
    "AP": "37", "LA": "38",
}  # fmt: skip

_KNOWN = ", ".join(f"('{letters}', '{code}')" for letters, code in LETTERS.items())

# Row by row: one that the database refuses for another reason must not keep the others.
_SPELL_ONE = """
DO $$
DECLARE
    wrong record;
BEGIN
    FOR wrong IN
        SELECT held.id, coalesce(known.code, '') AS code
          FROM {table} AS held
          LEFT JOIN (VALUES {known}) AS known (letters, code)
            ON known.letters = upper(held.{column} COLLATE "C")
         WHERE held.{column} !~ '^([0-9]{{2}})?$'
    LOOP
        BEGIN
            UPDATE {table} SET {column} = wrong.code WHERE id = wrong.id;
        EXCEPTION WHEN integrity_constraint_violation THEN
            RAISE NOTICE '{table} %: stays as it is', wrong.id;
        END;
    END LOOP;
END
$$;
"""
SPELL = "".join(
    _SPELL_ONE.format(table=table, column=column, known=_KNOWN)
    for table, column in (("partners_partner", "default_state"), ("partners_customer", "state"))
)


class Migration(migrations.Migration):
    """Rows only: what the tables take from now on is 0016's."""

    dependencies = [("partners", "0014_people_and_their_addresses")]

    operations = [migrations.RunSQL(SPELL, migrations.RunSQL.noop)]
