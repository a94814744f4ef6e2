-- Charge one request to all of its buckets, or to none of them (docs/adr/0065).
--
-- KEYS      a key for each bucket; then, if the request has a day's quota, its counter's key
-- ARGV[1]   number of buckets
-- then      for each bucket: requests a minute, debt in microseconds if Redis knows nothing of it
-- then      for the quota: requests a day, a day's number and its count if Redis knows nothing of it
--
-- The generic cell rate algorithm: a bucket is the time at which it will be full again (TAT). A
-- request moves it on by 60 s / rate and is refused if that leads more than 60 s into the future. A
-- bucket therefore holds one minute's worth. 60 s / 7 is no whole number of microseconds, so a time
-- is whole microseconds and `part` of a microsecond's `rate` parts: nothing is ever rounded.
--
-- Returns allowed (1 or 0), the server's seconds and microseconds; for each bucket its debt, the
-- requests it still has, and its wait until this one would have passed (microseconds, 0: at once);
-- for the quota its day's number and count.
local EPOCH = 1767225600    -- 2026-01-01: microseconds since then stay exact in a double till 2311
local WINDOW = 60000000     -- microseconds
local KEEP = 120000         -- milliseconds: twice the longest debt
local KEEP_DAY = 90000000   -- milliseconds: a day and an hour
local IST = 19800           -- seconds; India has no summer time

local seconds, micros = clock()
local now = (seconds - EPOCH) * 1000000 + micros
local buckets = tonumber(ARGV[1])
local allowed = 1
local states = {}

for i = 1, buckets do
  local rate, seed = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local tat, part = now + seed, 0
  local stored = redis.call('GET', KEYS[i])
  if stored then
    local old_tat, old_part, old_rate = string.match(stored, '^(-?%d+) (%d+) (%d+)$')
    tat, part = tonumber(old_tat), tonumber(old_part)
    if tonumber(old_rate) ~= rate and part > 0 then -- parts of another size
      tat, part = tat + 1, 0
    end
  end
  if tat < now then
    tat, part = now, 0
  elseif tat >= now + WINDOW then -- more only if the server's clock was put back
    tat, part = now + WINDOW, 0
  end
  local rest = WINDOW % rate
  local next_tat, next_part = tat + (WINDOW - rest) / rate, part + rest
  if next_part >= rate then
    next_tat, next_part = next_tat + 1, next_part - rate
  end
  local wait = next_tat - now - WINDOW
  if next_part > 0 then
    wait = wait + 1
  end
  if wait > 0 then
    allowed = 0
  end
  states[i] = { rate = rate, tat = tat, part = part, next_tat = next_tat, next_part = next_part,
                wait = math.max(wait, 0) }
end

local quota = tonumber(ARGV[2 * buckets + 2])
local today, count = math.floor((seconds + IST) / 86400), 0
if quota then
  local stored = redis.call('GET', KEYS[buckets + 1])
  local day, used = tonumber(ARGV[2 * buckets + 3]), tonumber(ARGV[2 * buckets + 4])
  if stored then
    local old_day, old_used = string.match(stored, '^(%d+) (%d+)$')
    day, used = tonumber(old_day), tonumber(old_used)
  end
  if day == today + 1 then -- the clock was put back over midnight, and the new day has begun
    today = day
  end
  if day == today then
    count = used
  end
  if count >= quota then
    allowed = 0
  end
end

local answer = { allowed, seconds, micros }
for i = 1, buckets do
  local state = states[i]
  if allowed == 1 then
    state.tat, state.part = state.next_tat, state.next_part
    local value = string.format('%.0f %.0f %.0f', state.tat, state.part, state.rate)
    redis.call('SET', KEYS[i], value, 'PX', KEEP)
  end
  local debt = state.tat - now
  local left = ((WINDOW - debt) * state.rate - state.part)
  answer[#answer + 1] = state.part > 0 and debt + 1 or debt
  answer[#answer + 1] = math.max((left - left % WINDOW) / WINDOW, 0)
  answer[#answer + 1] = state.wait
end
if quota then
  if allowed == 1 then
    count = count + 1
    local value = string.format('%.0f %.0f', today, count)
    redis.call('SET', KEYS[buckets + 1], value, 'PX', KEEP_DAY)
  end
  answer[#answer + 1] = today
  answer[#answer + 1] = count
end
return answer
