"""DuckDB reading tables by postgres_scanner on one thread into Parquet with zstd: DATABASE FOLDER TABLES."""

import importlib.resources
import json
import sys
import time

import duckdb

database, folder, tables = sys.argv[1:]
connection = duckdb.connect(config={"threads": 1, "allow_unsigned_extensions": True})
# The extension comes as a package of its own, so that nothing is fetched while measuring.
root = importlib.resources.files("duckdb_extension_postgres_scanner")
extension = next(path for path in root.rglob("*.duckdb_extension"))
connection.execute(f"load '{extension}'")
connection.execute(f"attach '{database}' as pg (type postgres, read_only)")
began = time.perf_counter()
for table in tables.split(","):
    connection.execute(f"copy (from pg.{table}) to '{folder}/{table}.parquet' (format parquet, compression zstd)")
print(json.dumps({"seconds": time.perf_counter() - began}))
