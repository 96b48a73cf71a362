#!/usr/bin/env bash
# Asks the server on this machine for a path; succeeds when it answers 200. For health checks, in an image without curl.
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${2:-8080}"
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
read -r -t 5 _ status _ <&3
[ "$status" = 200 ]
