walk() {
    token=
    while
        curl -sSG --fail-with-body "$URL/api/v2/cdr" -H "Authorization: Bearer $KEY" -d type=inbound -d per_page=1000 \
            -d search_token="$token" > page.json || { cat page.json >&2; return 1; }
        cat page.json; echo
        token=$(sed -n 's/.*,"search_token":"\([^"]*\)"}$/\1/p' page.json)
        test -n "$token"
    do :; done
}
walk > inbound.half && mv inbound.half inbound.jsonl
