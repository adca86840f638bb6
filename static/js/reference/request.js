// A filled-in form as a request, for fetch and for curl.

const QUOTED = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** `{method, url, headers, body}` of an operation with these values; what is empty is left out. */
export function request(operation, { path, query, header, body }) {
  const filled = operation.path.replace(/{(\w+)}/g, (whole, name) => encodeURIComponent(path[name]) || whole);
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
  const headers = Object.entries(header).filter(([, value]) => value !== "");
  return {
    method: operation.method.toUpperCase(),
    url: `${filled}${search.size ? `?${search}` : ""}`,
    headers: Object.fromEntries(headers),
    body: body?.trim() ? body : null,
  };
}

/** The same as a line for a shell; a token is named, not shown. */
export function curl({ method, url, headers, body }, { streams, signed }) {
  const words = ["curl", streams ? "-N" : "-sS"];
  if (method !== (body ? "POST" : "GET")) words.push("-X", method);
  words.push(/[{}&?]/.test(url) ? QUOTED(`${location.origin}${url}`) : `${location.origin}${url}`);
  if (signed) words.push("-H", '"Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(headers)) words.push("-H", QUOTED(`${name}: ${value}`));
  if (body) words.push("-d", QUOTED(body));
  return words.join(" ");
}
