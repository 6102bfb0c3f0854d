-- Posts the content of a file again and again, with headers NAME=VALUE, and reports as one line of JSON.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function init(arguments)
   for place = 2, #arguments do
      local name, value = arguments[place]:match("([^=]+)=(.*)")
      wrk.headers[name] = value
   end
   local file = assert(io.open(arguments[1], "rb"))
   wrk.body = file:read("*a")
   file:close()
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\nREPORT {"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "failed": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
