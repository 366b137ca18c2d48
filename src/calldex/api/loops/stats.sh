curl -sSG --fail-with-body "$URL/api/v2/cdr/stats" -H "Authorization: Bearer $KEY" -d type=inbound -d group_by=queue \
    -d measures=calls,answered_rate -o stats.half && mv stats.half stats.json
