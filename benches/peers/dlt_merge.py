"""dlt's rest_api source merging a list into Postgres: URL LIST DATABASE. Nested values stay JSON, which is dlt's faster way."""

import json
import sys
import tempfile
import time

import dlt
from dlt.sources.rest_api import rest_api_source

url, name, database = sys.argv[1:]
source = rest_api_source(
    {
        "client": {
            "base_url": f"{url}/wp-json/wc/v3/",
            "paginator": {
                "type": "page_number",
                "base_page": 1,
                "page_param": "page",
                "total_path": None,
                "stop_after_empty_page": True,
            },
        },
        "resources": [
            {
                "name": name,
                "primary_key": "id",
                "write_disposition": "merge",
                "max_table_nesting": 0,
                "endpoint": {"path": name, "params": {"per_page": 100}, "data_selector": "$"},
            }
        ],
    }
)
with tempfile.TemporaryDirectory() as folder:
    pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=dlt.destinations.postgres(database), dataset_name="raw")
    began = time.perf_counter()
    pipeline.run(source)
    seconds = time.perf_counter() - began
print(json.dumps({"seconds": seconds}))
