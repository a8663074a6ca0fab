# Three images: `test` builds and tests, `build` makes the program, the last one runs it.

FROM rust:1.95-bookworm AS source
WORKDIR /wharf
COPY . .

FROM source AS test
# The tests start private servers, so they want the server programs too.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/*
CMD ["cargo", "test", "--locked"]

FROM source AS build
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --home-dir /home/wharf wharf
COPY --from=build /wharf/target/release/wharf /usr/local/bin/wharf
USER wharf
WORKDIR /home/wharf
ENTRYPOINT ["wharf"]
CMD ["--help"]
