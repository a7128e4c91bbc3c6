-- wrk script: POSTs the bodies of a file, one a line, each once before any comes again.
-- Arguments: the file, how many of its lines to skip at the start, and the mean rest of a connection between an answer and
-- its next request, in milliseconds; rests are exponentially distributed, as between requests of many people.
local requests = {}
local position = 0
local rest = 0

function init(args)
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
   for body in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format(nil, nil, nil, body)
   end
   position = tonumber(args[2]) % #requests
   rest = tonumber(args[3])
   if rest > 0 then
      delay = function() return -rest * math.log(1 - math.random()) end
   end
end

function request()
   position = position % #requests + 1
   return requests[position]
end

-- One line of JSON in place of a table for people; times in seconds.
function done(summary, latency, _)
   local failed = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "status_errors": %d, "socket_errors": %d, ' ..
      '"p50": %.6f, "p90": %.6f, "p99": %.6f, "max": %.6f}\n',
      summary.requests, summary.duration / 1e6, failed.status,
      failed.connect + failed.read + failed.write + failed.timeout,
      latency:percentile(50) / 1e6, latency:percentile(90) / 1e6, latency:percentile(99) / 1e6, latency.max / 1e6))
end
