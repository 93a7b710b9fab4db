-- Argo CD's view of a DatabaseMigration (docs/gitops.md). `obj` is the live object; what is returned is its health.
local function condition(kind)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, each in ipairs(obj.status.conditions) do
      if each.type == kind then return each end
    end
  end
  return {status = "Unknown", reason = "", message = ""}
end

local function health(status, message)
  return {status = status, message = message or ""}
end

local ready = condition("Ready")
local phase = obj.status ~= nil and obj.status.phase or "Pending"

if obj.metadata.deletionTimestamp ~= nil then
  local held = table.concat(obj.metadata.finalizers or {}, ", ")
  return health("Progressing", "is being deleted, held by: " .. held)
end
-- What is told below would be about an older commit.
if obj.status == nil or (obj.status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return health("Progressing", "waits for the operator to see this spec")
end

local stalled = condition("Stalled")
if stalled.status == "True" then return health("Degraded", stalled.message) end

local paused = condition("Paused")
if paused.status == "True" then return health("Suspended", paused.message) end

local reconciling = condition("Reconciling")
if reconciling.status == "True" then return health("Progressing", reconciling.message) end

if ready.status == "True" then return health("Healthy", phase .. ": " .. (ready.message or "")) end
-- A request that is refused, or that waits for a human: nothing moves until Git changes. Pausing ends by itself.
if ready.status == "False" and ready.reason ~= "Paused" then return health("Degraded", ready.message) end
return health("Progressing", ready.message)
