curl -sSG --fail-with-body "$URL/api/v2/cdr/export" -H "Authorization: Bearer $KEY" -d format=csv -d type=inbound \
    -o calls.half && mv calls.half calls.csv
