"""What one writes by hand: pages by aiohttp, four at a time, rows by COPY into a jsonb table: URL LIST DATABASE."""

import asyncio
import json
import sys
import time

import aiohttp
import psycopg

url, name, database = sys.argv[1:]
AHEAD = 4


async def main():
    began = time.perf_counter()
    async with aiohttp.ClientSession() as http, await psycopg.AsyncConnection.connect(database) as postgres:
        await postgres.execute("create table landing (id bigint primary key, payload jsonb not null)")

        async def page(number):
            async with http.get(f"{url}/wp-json/wc/v3/{name}", params={"per_page": 100, "page": number}) as answer:
                return await answer.json()

        waiting = [asyncio.create_task(page(number)) for number in range(1, AHEAD + 1)]
        number = AHEAD
        async with postgres.cursor() as cursor:
            async with cursor.copy("copy landing from stdin") as copy:
                while rows := await waiting.pop(0):
                    number += 1
                    waiting.append(asyncio.create_task(page(number)))
                    for row in rows:
                        await copy.write_row((row["id"], json.dumps(row)))
        for task in waiting:
            task.cancel()
        await postgres.commit()
    print(json.dumps({"seconds": time.perf_counter() - began}))


asyncio.run(main())
