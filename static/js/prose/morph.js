// New nodes in the place of old ones, of which those stay that look the same, with what is selected in them.

/** Makes what follows `settled` in `parent` (all of it without one) look like `fresh`. */
export function morph(parent, settled, fresh) {
  let old = settled ? settled.nextSibling : parent.firstChild;
  while (old && fresh.firstChild && adapt(old, fresh.firstChild)) {
    fresh.firstChild.remove();
    old = old.nextSibling;
  }
  while (old) {
    const next = old.nextSibling;
    old.remove();
    old = next;
  }
  parent.append(...fresh.childNodes);
}

function adapt(old, fresh) {
  if (old.nodeType !== fresh.nodeType) return false;
  if (old.nodeType === Node.TEXT_NODE) {
    rewrite(old, fresh.data);
    return true;
  }
  if (old.localName !== fresh.localName) return false;
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morph(old, null, fresh);
  return true;
}

/** Changes only the part that differs. */
export function rewrite(node, text) {
  const { data } = node;
  if (text.startsWith(data)) {
    if (text.length > data.length) node.appendData(text.slice(data.length));
    return;
  }
  let same = 0;
  while (same < data.length && data[same] === text[same]) same++;
  node.replaceData(same, data.length - same, text.slice(same));
}
