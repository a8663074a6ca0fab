"""drt-core pushing contacts to a REST API in batches of 100: DATABASE. The API takes everything at once and says so."""

import json
import pathlib
import sys
import tempfile
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from drt.config.models import SyncConfig
from drt.config.profiles import PostgresProfile
from drt.destinations.rest_api import RestApiDestination
from drt.engine.sync import run_sync
from drt.sources.postgres import PostgresSource

(database,) = sys.argv[1:]
rows = 0


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global rows
        body = self.rfile.read(int(self.headers["content-length"]))
        rows += body.count(b'"contact_id"')
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = urllib.parse.urlparse(database)
profile = PostgresProfile(
    type="postgres",
    host=address.hostname,
    port=address.port,
    dbname=address.path.lstrip("/"),
    user=urllib.parse.unquote(address.username or ""),
    password=urllib.parse.unquote(address.password or ""),
)
sync = SyncConfig.model_validate(
    {
        "name": "contacts",
        "model": "select contact_id, email, phone, first_name, last_name, company, birthday, street, postal_code, city,"
        " country, email_consent from canonical.contacts",
        "destination": {
            "type": "rest_api",
            "url": f"http://127.0.0.1:{server.server_port}/contacts",
            "body_mode": "batch",
            "batch_template": '{"contacts": {{ rows | tojson }}}',
            "max_records_per_request": 100,
        },
        "sync": {"mode": "full", "batch_size": 100, "rate_limit": {"requests_per_second": 1000000}},
    }
)
with tempfile.TemporaryDirectory() as folder:
    began = time.perf_counter()
    result = run_sync(sync, PostgresSource(), RestApiDestination(), profile, pathlib.Path(folder))
    seconds = time.perf_counter() - began
assert result.failed == 0, result
print(json.dumps({"seconds": seconds, "rows": rows}))
