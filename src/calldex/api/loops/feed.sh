mkdir -p changes
changes() {
    while
        n=0 cursor=
        test ! -e changes/next || read -r n cursor < changes/next || return 1
        curl -sSG --fail-with-body "$URL/api/v2/cdr/changes" -H "Authorization: Bearer $KEY" -d type=inbound -d limit=10000 \
            -d cursor="$cursor" > changes/half || { cat changes/half >&2; return 1; }
        cursor=$(sed -n 's/.*,"next_cursor":"\([^"]*\)","has_more":[^"]*,"complete_through":"[^"]*"}$/\1/p' changes/half)
        test -n "$cursor" && mv changes/half "changes/$n.json" && echo "$((n + 1)) $cursor" > changes/next.half &&
            mv changes/next.half changes/next || return 1
        ! grep -q '"has_more":false,"complete_through":"[^"]*"}$' "changes/$n.json"
    do :; done
}
changes
