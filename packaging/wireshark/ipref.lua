-- IPREF for Wireshark and tshark: tunnel packets of both formats, and messages of the mapper socket.
--
-- Tunnel packets are the payload of UDP datagrams of port 1045; through a NAT, of any port: a packet
-- of format G is recognised there by its header. The formats are told apart by the first two octets
-- of each packet:
--
--   format G   octet 0 = 1x, octet 1 = 40 or 60: contexts are two IPv4 or two IPv6 addresses
--   format D   octet 0 = 0x: no contexts; or 1x and octet 1 = 00: each context has its own type
--
-- (format D: draft-hoyes-intarea-ipref-tunnel-00; port 1045: draft-augustyn-intarea-ipref-08)
--
-- Behind the header there is layer 4, without IP header: it goes on to the TCP, UDP and ICMP
-- dissectors. Checksums of TCP and UDP cover no addresses in the tunnel, so that they are verified
-- here; those dissectors do not verify them unless they are told to. ICMP errors quote tunnel
-- packets.
--
-- Messages of the mapper socket come in captures of the link type USER 0 (147).
--
-- Runs in Lua 5.2 (Wireshark up to 4.2) and Lua 5.4 (later): no bit operators, no bit library.

local ipref = Proto("ipref", "IPREF Tunnel")
local mapper = Proto("ipref_mapper", "IPREF Mapper Socket")

local UDP_PORT = 1045
local FORMATS = { G = "G (deployed)", D = "D (IETF draft)" }
local PROTOCOLS = { [1] = "ICMP", [6] = "TCP", [17] = "UDP", [0x17] = "UDP (written 0x17)" }
local ICMP_MESSAGES = {
  ["0/0"] = "echo reply", ["8/0"] = "echo request",
  ["3/0"] = "network unreachable", ["3/1"] = "host unreachable",
  ["3/4"] = "too big", ["3/13"] = "administratively prohibited",
  ["11/0"] = "time to live expired", ["11/1"] = "reassembly time exceeded",
}
-- Nesting of quoted packets; the gateway translates three ICMP headers inside each other.
local DEPTH_MAX = 4

---------------------------------------------------------------------------------------------------
-- Fields

local f = {
  format = ProtoField.string("ipref.format", "Format"),
  version = ProtoField.uint8("ipref.version", "Version", base.DEC),
  context_present = ProtoField.bool("ipref.context_present", "Contexts present"),
  reference_length = ProtoField.uint8("ipref.reference_length", "Octets of a reference", base.DEC),
  has_fragment = ProtoField.bool("ipref.has_fragment", "Fragment information present"),
  dont_fragment = ProtoField.bool("ipref.dont_fragment", "Don't fragment"),
  context_version = ProtoField.uint8("ipref.context_version", "IP version of the contexts", base.DEC),
  reserved = ProtoField.uint8("ipref.reserved", "Reserved", base.HEX),
  ttl = ProtoField.uint8("ipref.ttl", "Time to live", base.DEC),
  protocol = ProtoField.uint8("ipref.protocol", "Protocol", base.DEC, PROTOCOLS),
  fragment_offset = ProtoField.uint16("ipref.fragment_offset", "Fragment offset", base.DEC),
  more_fragments = ProtoField.bool("ipref.more_fragments", "More fragments"),
  identification = ProtoField.uint32("ipref.identification", "Identification", base.HEX),
  context_type = ProtoField.uint8("ipref.context.type", "Type of context", base.DEC,
    { [0] = "unspecified", [4] = "IPv4", [6] = "IPv6" }),
  context_port = ProtoField.uint16("ipref.context.port", "UDP port", base.DEC),
  source_ipv4 = ProtoField.ipv4("ipref.source.ipv4", "Source context"),
  source_ipv6 = ProtoField.ipv6("ipref.source.ipv6", "Source context"),
  destination_ipv4 = ProtoField.ipv4("ipref.destination.ipv4", "Destination context"),
  destination_ipv6 = ProtoField.ipv6("ipref.destination.ipv6", "Destination context"),
  source_reference = ProtoField.string("ipref.source.reference", "Source reference"),
  destination_reference = ProtoField.string("ipref.destination.reference", "Destination reference"),
  source = ProtoField.string("ipref.source", "Source"),
  destination = ProtoField.string("ipref.destination", "Destination"),
  address = ProtoField.string("ipref.address", "Source or destination"),
  reference = ProtoField.string("ipref.reference", "Source or destination reference"),
  header_length = ProtoField.uint16("ipref.header_length", "Octets of the header", base.DEC),
  icmp_message = ProtoField.string("ipref.icmp.message", "Message"),
  icmp_type = ProtoField.uint8("ipref.icmp.type", "Type", base.DEC),
  icmp_code = ProtoField.uint8("ipref.icmp.code", "Code", base.DEC),
  icmp_checksum = ProtoField.uint16("ipref.icmp.checksum", "Checksum", base.HEX),
  icmp_mtu = ProtoField.uint16("ipref.icmp.mtu", "Largest tunnel packet", base.DEC),
  checksum_status = ProtoField.string("ipref.checksum.status", "Layer-4 checksum"),
}
ipref.fields = {}
for _, field in pairs(f) do table.insert(ipref.fields, field) end

local e = {
  short = ProtoExpert.new("ipref.short", "Shorter than its header", expert.group.MALFORMED,
    expert.severity.ERROR),
  unknown = ProtoExpert.new("ipref.unknown_format", "Of no known tunnel format",
    expert.group.MALFORMED, expert.severity.ERROR),
  reference_length = ProtoExpert.new("ipref.bad_reference_length",
    "The reference length code is the reserved one", expert.group.MALFORMED, expert.severity.ERROR),
  reserved = ProtoExpert.new("ipref.reserved_bits", "Reserved bits are set",
    expert.group.MALFORMED, expert.severity.ERROR),
  context = ProtoExpert.new("ipref.bad_context", "A context of an unknown type",
    expert.group.MALFORMED, expert.severity.ERROR),
  checksum = ProtoExpert.new("ipref.bad_checksum",
    "The checksum of layer 4, which covers no addresses here, is wrong", expert.group.CHECKSUM,
    expert.severity.WARN),
  icmp = ProtoExpert.new("ipref.bad_icmp", "An ICMP message that the tunnel does not know",
    expert.group.PROTOCOL, expert.severity.WARN),
  payload = ProtoExpert.new("ipref.payload", "The payload is malformed, or its dissector has failed",
    expert.group.UNDECODED, expert.severity.NOTE),
  nesting = ProtoExpert.new("ipref.nesting", "Quoted packets are nested too deeply",
    expert.group.PROTOCOL, expert.severity.WARN),
}
ipref.experts = {}
for _, info in pairs(e) do table.insert(ipref.experts, info) end

---------------------------------------------------------------------------------------------------
-- Numbers and texts

-- Bits `low` to `low + count - 1` of a number.
local function bits(value, low, count)
  return math.floor(value / 2 ^ low) % 2 ^ count
end

-- The 16 octets of a reference on the wire: the first octet is the top one, the others are the low
-- ones.
local function reference_octets(range)
  local octets, length = {}, range:len()
  for index = 1, 16 do octets[index] = 0 end
  octets[1] = range(0, 1):uint()
  for index = 1, length - 1 do octets[16 - length + 1 + index] = range(index, 1):uint() end
  return octets
end

-- Decimal below 65536; otherwise hexadecimal groups of 16 bits from the highest one in use.
local function reference_text(octets)
  local groups, first = {}, nil
  for index = 1, 8 do
    groups[index] = octets[2 * index - 1] * 256 + octets[2 * index]
    if groups[index] ~= 0 and first == nil then first = index end
  end
  if first == nil or first == 8 then return tostring(math.floor(groups[8])) end
  local texts = {}
  for index = first, 8 do table.insert(texts, string.format("%x", groups[index])) end
  return table.concat(texts, "-")
end

-- One's complement sum of a range as 16-bit words.
local function sum_of(range, initial)
  local sum, length = initial, range:len()
  for at = 0, length - 2, 2 do sum = sum + range(at, 2):uint() end
  if length % 2 == 1 then sum = sum + range(length - 1, 1):uint() * 256 end
  while sum > 0xffff do sum = sum % 0x10000 + math.floor(sum / 0x10000) end
  return sum
end

---------------------------------------------------------------------------------------------------
-- Tunnel header

-- Format of a packet by its first two octets; nil and the expert information when it has none.
local function classify(buffer)
  if buffer:len() < 12 then return nil, e.short end
  local first, second = buffer(0, 1):uint(), buffer(1, 1):uint()
  if first >= 0x20 then return nil, e.unknown end
  if bits(first, 2, 2) == 3 then return nil, e.reference_length end
  if first < 0x10 then return "D" end
  if second == 0x40 or second == 0x60 then return "G" end
  if second == 0 then return "D" end
  return nil, second % 16 == 0 and e.unknown or e.reserved
end

-- Adds an address of a context; returns its text.
local function add_context_address(tree, range, name)
  if range:len() == 4 then
    tree:add(f[name .. "_ipv4"], range)
    return tostring(range:ipv4())
  end
  tree:add(f[name .. "_ipv6"], range)
  return tostring(range:ipv6())
end

-- A context of format D at `at`: text of its address, and where it ends; nil when it is cut off or
-- of an unknown type.
local function add_draft_context(tree, buffer, at, name)
  if buffer:len() < at + 4 then
    tree:add_proto_expert_info(e.short)
    return nil
  end
  local kind = buffer(at, 1):uint()
  local size = kind == 0 and 0 or kind == 4 and 4 or kind == 6 and 16 or nil
  if size == nil then
    tree:add(f.context_type, buffer(at, 1)):add_proto_expert_info(e.context)
    return nil
  end
  if buffer:len() < at + 4 + size then
    tree:add_proto_expert_info(e.short)
    return nil
  end
  local label = name == "source" and "Source context" or "Destination context"
  local branch = tree:add(ipref, buffer(at, 4 + size), label)
  branch:add(f.context_type, buffer(at, 1))
  if buffer(at + 1, 1):uint() ~= 0 then
    branch:add(f.reserved, buffer(at + 1, 1)):add_proto_expert_info(e.reserved)
  end
  branch:add(f.context_port, buffer(at + 2, 2))
  local text = "outer"
  if size > 0 then text = add_context_address(branch, buffer(at + 4, size), name) end
  return text, at + 4 + size
end

-- Both contexts: their texts, and where the references begin; nil when that cannot be told.
local function add_contexts(tree, buffer, format, at)
  local first = buffer(0, 1):uint()
  if format == "D" then
    if bits(first, 4, 1) == 0 then return "outer", "outer", at end
    local source, middle = add_draft_context(tree, buffer, at, "source")
    if source == nil then return nil end
    local destination, finish = add_draft_context(tree, buffer, middle, "destination")
    if destination == nil then return nil end
    return source, destination, finish
  end
  local size = buffer(1, 1):uint() == 0x40 and 4 or 16
  if buffer:len() < at + 2 * size then
    tree:add_proto_expert_info(e.short)
    return nil
  end
  local source = add_context_address(tree, buffer(at, size), "source")
  local destination = add_context_address(tree, buffer(at + size, size), "destination")
  return source, destination, at + 2 * size
end

-- One reference; its text.
local function add_reference(tree, range, name)
  local text = reference_text(reference_octets(range))
  tree:add(f[name .. "_reference"], range, text)
  local hidden = tree:add(f.reference, range, text)
  hidden:set_hidden(true)
  return text
end

local function add_first_octets(tree, buffer, format)
  local first = buffer(0, 1):uint()
  tree:add(f.format, buffer(0, 2), format):append_text(" " .. FORMATS[format]:sub(3))
  if format == "G" then
    tree:add(f.version, buffer(0, 1), bits(first, 4, 4))
    tree:add(f.context_version, buffer(1, 1), bits(buffer(1, 1):uint(), 4, 4))
  else
    tree:add(f.context_present, buffer(0, 1), bits(first, 4, 1) == 1)
  end
  tree:add(f.reference_length, buffer(0, 1), 4 * 2 ^ bits(first, 2, 2))
  tree:add(f.has_fragment, buffer(0, 1), bits(first, 1, 1) == 1)
  tree:add(f.dont_fragment, buffer(0, 1), bits(first, 0, 1) == 1)
  tree:add(f.ttl, buffer(2, 1))
  tree:add(f.protocol, buffer(3, 1))
end

-- Fragment information; offset and more fragments.
local function add_fragment(tree, buffer)
  local word = buffer(6, 2):uint()
  local offset = word - word % 8
  tree:add(f.fragment_offset, buffer(6, 2), offset)
  tree:add(f.more_fragments, buffer(7, 1), word % 2 == 1)
  tree:add(f.identification, buffer(8, 4))
  if buffer(4, 2):uint() ~= 0 or bits(word, 1, 2) ~= 0 then
    tree:add(f.reserved, buffer(4, 1)):add_proto_expert_info(e.reserved)
  end
  return offset, word % 2 == 1
end

-- The tunnel header. A table of what is in it; nil when it is malformed.
local function dissect_header(tree, buffer)
  local format, fault = classify(buffer)
  if format == nil then
    tree:add_proto_expert_info(fault)
    return nil
  end
  local header = { format = format, ttl = buffer(2, 1):uint(), protocol = buffer(3, 1):uint() }
  add_first_octets(tree, buffer, format)
  local at = 4
  header.offset, header.more = 0, false
  if bits(buffer(0, 1):uint(), 1, 1) == 1 then
    header.offset, header.more = add_fragment(tree, buffer)
    at = 12
  end
  local source, destination, references = add_contexts(tree, buffer, format, at)
  if source == nil then return nil end
  local size = 4 * 2 ^ bits(buffer(0, 1):uint(), 2, 2)
  header.length = references + 2 * size
  if buffer:len() < header.length then
    tree:add_proto_expert_info(e.short)
    return nil
  end
  local from = add_reference(tree, buffer(references, size), "source")
  local to = add_reference(tree, buffer(references + size, size), "destination")
  header.source = source .. " + " .. from
  header.destination = destination .. " + " .. to
  for _, name in ipairs({ "source", "destination" }) do
    tree:add(f[name], buffer(0, header.length), header[name]):set_generated(true)
    tree:add(f.address, buffer(0, header.length), header[name]):set_hidden(true)
  end
  tree:add(f.header_length, buffer(0, header.length), header.length):set_generated(true)
  if header.protocol == 0x17 and format == "D" then header.protocol = 17 end
  return header
end

---------------------------------------------------------------------------------------------------
-- Layer 4

-- Verifies a whole TCP segment or UDP datagram: its checksum covers protocol and length, no address.
local function add_checksum(tree, payload, protocol)
  local place = protocol == 6 and 16 or 6
  if payload:len() < place + 2 or payload:len() < payload:reported_len() then return end
  local stored = payload(place, 2):uint()
  if stored == 0 and protocol == 17 then
    tree:add(f.checksum_status, payload(place, 2), "none"):set_generated(true)
    return
  end
  local isRight = sum_of(payload, protocol + payload:len()) == 0xffff
  local item = tree:add(f.checksum_status, payload(place, 2), isRight and "right" or "wrong")
  item:set_generated(true)
  if not isRight then item:add_proto_expert_info(e.checksum) end
end

local dissect_tunnel

-- An ICMP error: it quotes a tunnel packet.
local function dissect_icmp_error(tree, payload, pinfo, format, depth)
  local kind, code = payload(0, 1):uint(), payload(1, 1):uint()
  -- Port unreachable is 3/2 in format G and 3/3 in format D.
  local isPort = kind == 3 and (code == 2 and format == "G" or code == 3)
  local name = isPort and "port unreachable" or ICMP_MESSAGES[kind .. "/" .. code]
  local branch = tree:add(ipref, payload(0), "ICMP error")
  branch:add(f.icmp_type, payload(0, 1))
  branch:add(f.icmp_code, payload(1, 1))
  branch:add(f.icmp_checksum, payload(2, 2))
  branch:add(f.icmp_message, payload(0, 2), name or "unknown")
  if name == nil then branch:add_proto_expert_info(e.icmp) end
  if kind == 3 and code == 4 then branch:add(f.icmp_mtu, payload(6, 2)) end
  branch:append_text(": " .. (name or "unknown"))
  pinfo.cols.info:append(" ICMP " .. (name or "error"))
  if payload:len() > 8 then
    dissect_tunnel(payload(8):tvb(), pinfo, branch, { depth = depth + 1, isQuote = true })
  end
end

-- Hands layer 4 on. A payload that its dissector cannot read does not end this one.
local function call(name, payload, pinfo, root)
  local dissector = Dissector.get(name)
  local isRead = pcall(function() dissector:call(payload, pinfo, root) end)
  if not isRead then root:add_proto_expert_info(e.payload) end
end

local function dissect_payload(tree, payload, pinfo, root, header, depth, isQuote)
  local protocol = header.protocol
  if header.offset > 0 or header.more then return call("data", payload, pinfo, root) end
  if protocol == 1 and payload:len() >= 8 then
    local kind = payload(0, 1):uint()
    if kind ~= 0 and kind ~= 8 then
      return dissect_icmp_error(tree, payload, pinfo, header.format, depth)
    end
  end
  if isQuote then return call("data", payload, pinfo, root) end
  if protocol == 6 or protocol == 17 then add_checksum(tree, payload, protocol) end
  if protocol == 6 then return call("tcp", payload, pinfo, root) end
  if protocol == 17 then return call("udp", payload, pinfo, root) end
  if protocol == 1 then return call("icmp", payload, pinfo, root) end
  call("data", payload, pinfo, root)
end

-- A tunnel packet, or one that an ICMP error quotes.
dissect_tunnel = function(buffer, pinfo, root, within)
  local tree = root:add(ipref, buffer())
  if within.depth > DEPTH_MAX then
    tree:add_proto_expert_info(e.nesting)
    return
  end
  if not within.isQuote then
    pinfo.cols.protocol = "IPREF"
    pinfo.cols.info = ""
  end
  local header = dissect_header(tree, buffer)
  if header == nil then
    tree:append_text(", malformed")
    if not within.isQuote then pinfo.cols.info = "Malformed IPREF packet" end
    return
  end
  local ends = header.source .. " -> " .. header.destination
  local name = PROTOCOLS[header.protocol] or ("protocol " .. header.protocol)
  tree:append_text(", " .. ends .. ", " .. name)
  tree:set_len(header.length)
  if not within.isQuote then
    pinfo.cols.info = ends
    if header.offset > 0 or header.more then
      pinfo.cols.info:append(" fragment at " .. header.offset)
    end
    pinfo.cols.info:append(" ")
    pinfo.cols.info:fence()
  end
  if buffer:len() <= header.length then return end
  local payload = buffer(header.length)
  dissect_payload(tree, payload:tvb(), pinfo, root, header, within.depth, within.isQuote)
  if not within.isQuote then pinfo.cols.protocol = "IPREF" end
end

function ipref.dissector(buffer, pinfo, root)
  dissect_tunnel(buffer, pinfo, root, { depth = 0, isQuote = false })
  return buffer:len()
end

-- On other ports only what is plainly format G: nothing reserved, and a protocol that it carries.
local function recognise(buffer, pinfo, root)
  if buffer:len() < 20 or classify(buffer) ~= "G" then return false end
  local first = buffer(0, 1):uint()
  local size = buffer(1, 1):uint() == 0x40 and 4 or 16
  local length = 4 + 8 * bits(first, 1, 1) + 2 * size + 8 * 2 ^ bits(first, 2, 2)
  if buffer:len() < length then return false end
  local protocol = buffer(3, 1):uint()
  if protocol ~= 1 and protocol ~= 6 and protocol ~= 17 then return false end
  ipref.dissector(buffer, pinfo, root)
  return true
end

ipref:register_heuristic("udp", recognise)
DissectorTable.get("udp.port"):add(UDP_PORT, ipref)

---------------------------------------------------------------------------------------------------
-- Mapper socket

local MODES = { [0] = "data", [1] = "request", [2] = "ACK", [3] = "NACK" }
local COMMANDS = {
  [0] = "NOOP", [7] = "MC_GET_EA", [14] = "MC_HOST_DATA", [15] = "MC_HOST_DATA_HASH",
}

local m = {
  signature = ProtoField.uint8("ipref_mapper.signature", "Signature", base.HEX),
  mode = ProtoField.uint8("ipref_mapper.mode", "Mode", base.DEC, MODES, 0xc0),
  command = ProtoField.uint8("ipref_mapper.command", "Command", base.DEC, COMMANDS, 0x3f),
  id = ProtoField.uint16("ipref_mapper.id", "Packet id", base.HEX),
  ipver = ProtoField.uint8("ipref_mapper.ipver", "IP versions", base.HEX),
  dialect = ProtoField.string("ipref_mapper.dialect", "Dialect"),
  reserved = ProtoField.uint8("ipref_mapper.reserved", "Reserved", base.HEX),
  words = ProtoField.uint16("ipref_mapper.words", "Length in 32-bit words", base.DEC),
  batch = ProtoField.uint32("ipref_mapper.batch", "Batch id", base.HEX),
  count = ProtoField.uint32("ipref_mapper.count", "Number of hosts", base.DEC),
  hash = ProtoField.bytes("ipref_mapper.hash", "Hash"),
  name = ProtoField.string("ipref_mapper.name", "Name"),
  local_domain = ProtoField.string("ipref_mapper.local_domain", "Local domain"),
  public_domain = ProtoField.string("ipref_mapper.public_domain", "Public domain"),
  ea4 = ProtoField.ipv4("ipref_mapper.ea.ipv4", "Encoded address"),
  ea6 = ProtoField.ipv6("ipref_mapper.ea.ipv6", "Encoded address"),
  ip4 = ProtoField.ipv4("ipref_mapper.ip.ipv4", "Host"),
  ip6 = ProtoField.ipv6("ipref_mapper.ip.ipv6", "Host"),
  gw4 = ProtoField.ipv4("ipref_mapper.gw.ipv4", "Gateway"),
  gw6 = ProtoField.ipv6("ipref_mapper.gw.ipv6", "Gateway"),
  reference = ProtoField.string("ipref_mapper.reference", "Reference"),
  address = ProtoField.string("ipref_mapper.address", "IPREF address"),
}
mapper.fields = {}
for _, field in pairs(m) do table.insert(mapper.fields, field) end

local me = {
  short = ProtoExpert.new("ipref_mapper.short", "Shorter than its fields",
    expert.group.MALFORMED, expert.severity.ERROR),
  signature = ProtoExpert.new("ipref_mapper.bad_signature", "The signature is not 11",
    expert.group.MALFORMED, expert.severity.ERROR),
  length = ProtoExpert.new("ipref_mapper.bad_length", "The length field is not the message's length",
    expert.group.MALFORMED, expert.severity.ERROR),
  versions = ProtoExpert.new("ipref_mapper.bad_versions", "IP versions that do not exist",
    expert.group.MALFORMED, expert.severity.ERROR),
  command = ProtoExpert.new("ipref_mapper.unknown_command", "A command unknown on the socket",
    expert.group.PROTOCOL, expert.severity.WARN),
  rest = ProtoExpert.new("ipref_mapper.rest", "Octets behind the last record",
    expert.group.PROTOCOL, expert.severity.WARN),
}
mapper.experts = {}
for _, info in pairs(me) do table.insert(mapper.experts, info) end

-- A string item at `at`: its text and its end; nil when it is none.
local function add_string(tree, buffer, at, field)
  local rest = buffer:len() - at
  if rest < 4 or buffer(at, 1):uint() ~= 4 then return nil end
  local count = buffer(at + 1, 1):uint()
  local size = math.floor((count + 5) / 4) * 4
  if count == 0 or size > rest then return nil end
  tree:add(field, buffer(at + 2, count))
  return buffer(at + 2, count):string(), at + size
end

-- Sizes of the parts of the record at `at`, and where they begin; nil when it is malformed.
local function record_sizes(buffer, at)
  local ipver = buffer(4, 1):uint()
  local sizes = { [4] = 4, [6] = 16 }
  if ipver ~= 0 then return sizes[bits(ipver, 4, 4)], sizes[ipver % 16], at end
  if buffer:len() < at + 4 then return nil end
  local near, far = sizes[buffer(at, 1):uint()], sizes[buffer(at + 2, 1):uint()]
  if near ~= buffer(at + 1, 1):uint() or far ~= buffer(at + 3, 1):uint() then return nil end
  return near, far, at + 4
end

-- An address record at `at`: the text of its IPREF address, and its end; nil when it is malformed.
local function add_record(tree, buffer, at)
  local near, far, start = record_sizes(buffer, at)
  if near == nil or far == nil then return nil end
  local length = start - at + 2 * near + far + 16
  if buffer:len() < at + length then return nil end
  local branch = tree:add(mapper, buffer(at, length), "Address record")
  local gateway, reference = start + 2 * near, start + 2 * near + far
  branch:add(near == 4 and m.ea4 or m.ea6, buffer(start, near))
  branch:add(near == 4 and m.ip4 or m.ip6, buffer(start + near, near))
  branch:add(far == 4 and m.gw4 or m.gw6, buffer(gateway, far))
  local text = reference_text(reference_octets(buffer(reference, 16)))
  branch:add(m.reference, buffer(reference, 16), text)
  local range = buffer(gateway, far)
  local address = tostring(far == 4 and range:ipv4() or range:ipv6()) .. " + " .. text
  branch:add(m.address, buffer(gateway, far + 16), address):set_generated(true)
  branch:append_text(": " .. address)
  return address, at + length
end

-- MC_GET_EA: one record, and perhaps the name that was asked for.
local function dissect_get(tree, buffer, mode)
  if mode == 3 then return "" end
  local address, finish = add_record(tree, buffer, 8)
  if address == nil then return nil end
  if finish == buffer:len() then return address end
  local name = add_string(tree, buffer, finish, m.name)
  if name == nil then tree:add_proto_expert_info(me.rest) end
  return address .. (name and " " .. name or "")
end

-- MC_HOST_DATA and MC_HOST_DATA_HASH: a source with its hash, and records.
local function dissect_hosts(tree, buffer, isHash)
  if buffer:len() < 20 then return nil end
  tree:add(isHash and m.count or m.batch, buffer(8, 4))
  tree:add(m.hash, buffer(12, 8))
  local near, middle = add_string(tree, buffer, 20, m.local_domain)
  if near == nil then return nil end
  local far, at = add_string(tree, buffer, middle, m.public_domain)
  if far == nil then return nil end
  local records = 0
  while at < buffer:len() do
    local address, finish = add_record(tree, buffer, at)
    if address == nil then
      tree:add_proto_expert_info(me.rest)
      break
    end
    records, at = records + 1, finish
  end
  local text = near .. ":" .. far
  if isHash then return text .. " " .. buffer(8, 4):uint() .. " hosts" end
  return records == 0 and text or text .. " " .. records .. " records"
end

local function dissect_body(tree, buffer, command, mode)
  if command == 7 then return dissect_get(tree, buffer, mode) end
  if command == 14 or command == 15 then return dissect_hosts(tree, buffer, command == 15) end
  return ""
end

local function add_mapper_head(tree, buffer)
  local item = tree:add(m.signature, buffer(0, 1))
  if buffer(0, 1):uint() ~= 0x11 then item:add_proto_expert_info(me.signature) end
  tree:add(m.mode, buffer(1, 1))
  tree:add(m.command, buffer(1, 1))
  tree:add(m.id, buffer(2, 2))
  local ipver = buffer(4, 1):uint()
  local versions = tree:add(m.ipver, buffer(4, 1))
  tree:add(m.dialect, buffer(4, 1), ipver == 0 and "newv1" or "oldv1"):set_generated(true)
  local isKnown = ipver == 0 or ipver == 0x44 or ipver == 0x46 or ipver == 0x64 or ipver == 0x66
  if not isKnown then versions:add_proto_expert_info(me.versions) end
  tree:add(m.reserved, buffer(5, 1))
  local length = tree:add(m.words, buffer(6, 2))
  if 4 * buffer(6, 2):uint() ~= buffer:reported_len() then length:add_proto_expert_info(me.length) end
  return isKnown and buffer(0, 1):uint() == 0x11
end

function mapper.dissector(buffer, pinfo, root)
  pinfo.cols.protocol = "IPREF-MAPPER"
  local tree = root:add(mapper, buffer())
  if buffer:len() < 8 then
    tree:add_proto_expert_info(me.short)
    pinfo.cols.info = "Malformed mapper message"
    return buffer:len()
  end
  local isRight = add_mapper_head(tree, buffer)
  local octet = buffer(1, 1):uint()
  local command, mode = octet % 64, math.floor(octet / 64)
  local name = COMMANDS[command] or ("command " .. command)
  if COMMANDS[command] == nil then tree:add_proto_expert_info(me.command) end
  local text = string.format("%s %s, id %d", name, MODES[mode], buffer(2, 2):uint())
  tree:append_text(", " .. text)
  local detail = ""
  if isRight then detail = dissect_body(tree, buffer, command, mode) end
  if detail == nil then tree:add_proto_expert_info(me.short) end
  pinfo.cols.info = text .. (detail and detail ~= "" and ": " .. detail or "")
  return buffer:len()
end

DissectorTable.get("wtap_encap"):add(wtap.USER0, mapper)
