# Boveda as one static binary on an empty base.
#
#     docker build -t boveda:0.1.0 .
#     docker run --rm -p 127.0.0.1:5000:5000 -p 127.0.0.1:5001:5001 -v boveda:/var/lib/boveda boveda:0.1.0
#
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The target is named so that the flags hold for the program alone, not for build scripts and macros. Random bytes
# come from the system call: a static program cannot look it up and would want /dev/urandom, which an empty base has not.
ENV RUSTFLAGS="-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"" \
    CARGO_PROFILE_RELEASE_STRIP=debuginfo
RUN cargo build --release --locked --target x86_64-unknown-linux-gnu --bin boveda \
 && mkdir -p /out/var/lib/boveda \
 && cp target/x86_64-unknown-linux-gnu/release/boveda /out/boveda

FROM scratch
# The user's own directory, so that a fresh named volume belongs to it.
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
WORKDIR /var/lib/boveda
EXPOSE 5000 5001 5002
ENTRYPOINT ["/boveda"]
# The ports are published by docker on the address that -p names. Nobody gets in without an access key: the first one is in
# /var/lib/boveda/boveda-data/root-key after the first start (docs/operations.md, "Who gets in").
CMD ["serve", "--listen", "0.0.0.0:5000", "--s3-listen", "0.0.0.0:5001"]
