-- A NATS server that speaks TLS greets with "tls_required":true also inside TLS. A client without TLS, such as
-- ours before the sidecar, would begin a second TLS there: the sidecar's word to it is that none is needed.
core.register_action("nats_greeting", { "tcp-res" }, function(txn)
    local greeting = txn.res:data()
    local rest = greeting:find("\r\n", 1, true)
    if rest then
        local info = greeting:sub(1, rest - 1):gsub('"tls_required":true', '"tls_required":false')
        txn.res:set(info .. greeting:sub(rest))
    end
end)
