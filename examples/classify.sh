#!/bin/sh
# curl in front of a running service: one text, several, a file whose rows stream back.
set -eu
url=${1:-http://127.0.0.1:8000}
json='Content-Type: application/json'

curl -sS --fail-with-body "$url/v1/classify" -H "$json" -d '{"text": "Great value, works perfectly."}'
echo
curl -sS --fail-with-body "$url/v1/classify" -H "$json" -d '{"texts": ["Broke after two days.", ""]}'
echo
printf 'review\nGreat value!\nBroke after two days.\n' |
    curl -sS --fail-with-body "$url/files?format=csv&output=csv" -X POST -T -
