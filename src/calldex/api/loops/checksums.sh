curl -sSG --fail-with-body "$URL/api/v2/cdr/checksums" -H "Authorization: Bearer $KEY" -d type=inbound -d timezone=UTC \
    -o proof.half && mv proof.half proof.json
