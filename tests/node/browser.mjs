// A browser of a few lines around the playground's own page and scripts, which it loads from a server: node browser.mjs URL [COOKIES]
//
// Cookies are kept and sent as browsers do, those that are HttpOnly are hidden from scripts, a POST has its Origin. Elements are found by the ids that
// stand in the page; what is not there is null. Each line of standard input is a step, and each is answered by a line with the state of everything:
//
//   {"type": {"email": "ann@…"}}            fields
//   {"choose": "lots"}                      an example
//   {"press": ["run"]}                      buttons or forms, at the same moment
//   {"cookie": ["lotline_access", "…"]}     plants a cookie; null takes it away
//   {"busy": "/api/v1/auth/refresh"}        what is answered 503 from now on, on the way to the server; null for nothing
//   {}                                      nothing: only look
import { webcrypto } from 'node:crypto';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [, , server, planted = ''] = process.argv;
const jar = new Map();
const asked = [];
let busy = null;
const real = globalThis.fetch;
globalThis.location = new URL('/graphiql', server);
// Node.js 18 keeps it to itself.
globalThis.crypto ??= webcrypto;

function keep(line) {
  const [pair, ...attributes] = line.split(';').map((part) => part.trim());
  const at = pair.indexOf('='), name = pair.slice(0, at);
  const attribute = (wanted) => attributes.find((given) => given.toLowerCase().split('=')[0] === wanted);
  const age = attribute('max-age');
  if (age && Number(age.split('=')[1]) <= 0) { jar.delete(name); return; }
  jar.set(name, { value: pair.slice(at + 1), hidden: Boolean(attribute('httponly')) });
}

const written = (cookies) => cookies.map(([name, { value }]) => name + '=' + value).join('; ');

globalThis.fetch = async (path, init = {}) => {
  const url = new URL(path, location), headers = new Headers(init.headers), method = init.method || 'GET';
  const cookies = init.credentials !== 'omit' && url.origin === location.origin;
  if (method !== 'GET') { headers.set('origin', location.origin); }
  if (cookies && jar.size > 0) { headers.set('cookie', written([...jar])); }
  const { variables = null } = init.body ? JSON.parse(init.body) : {};
  const entry = { method, path: url.pathname, headers: [...headers.keys()], variables, status: null };
  asked.push(entry);
  if (url.pathname === busy) { return new Response(JSON.stringify({ errors: [{ message: 'too busy' }] }), { status: entry.status = 503 }); }
  const answer = await real(url, { ...init, headers, redirect: 'manual' });
  entry.status = answer.status;
  if (cookies) { answer.headers.getSetCookie().forEach(keep); }
  return answer;
};

function elements(page) {
  const found = {};
  for (const [tag, id] of page.matchAll(/<[a-z]+[^>]*\bid="([^"]+)"[^>]*>/g)) {
    const value = /\bvalue="([^"]*)"/.exec(tag);
    found[id] = { value: value ? value[1] : '', textContent: '', className: '', hidden: /\shidden[\s>]/.test(tag), disabled: /\sdisabled[\s>]/.test(tag), append() {} };
  }
  found.operations.textContent = /id="operations">([^]*?)<\/script>/.exec(page)[1];
  return found;
}

async function text(path) {
  const answer = await real(new URL(path, location));
  if (!answer.ok) { throw new Error(path + ' is answered ' + answer.status); }
  return answer.text();
}

/** Fetches a script and what it imports, each to where its path says. */
async function script(folder, path, seen = new Set()) {
  if (seen.has(path)) { return; }
  seen.add(path);
  const source = await text(path), file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, source);
  for (const [, other] of source.matchAll(/from '([^']+)'/g)) { await script(folder, new URL(other, new URL(path, location)).pathname, seen); }
}

async function load() {
  const page = await text('/graphiql');
  const shown = elements(page);
  const data = Object.fromEntries([.../<html[^>]*>/.exec(page)[0].matchAll(/data-([a-z-]+)="([^"]*)"/g)].map(([, name, value]) => [name.replace(/-(.)/g, (_, c) => c.toUpperCase()), value]));
  globalThis.document = {
    documentElement: { dataset: data },
    getElementById: (id) => shown[id] || null,
    get cookie() { return written([...jar].filter(([, { hidden }]) => !hidden)); },
  };
  globalThis.Option = class { constructor(label, value) { Object.assign(this, { label, value }); } };
  const folder = mkdtempSync(join(tmpdir(), 'lotline-page-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const [, entrance] = /<script type="module" src="([^"]+)"/.exec(page);
  await script(folder, entrance);
  await import(pathToFileURL(join(folder, entrance)));
  return shown;
}

function step(shown, { type = {}, choose, press = [], cookie, busy: path }) {
  if (path !== undefined) { busy = path; }
  for (const [id, value] of Object.entries(type)) { shown[id].value = value; }
  if (choose) { shown.examples.onchange({ target: { value: choose } }); }
  if (cookie && cookie[1] === null) { jar.delete(cookie[0]); } else if (cookie) { keep(cookie[0] + '=' + cookie[1] + '; HttpOnly'); }
  for (const id of press) {
    if (shown[id].hidden || shown[id].disabled) { throw new Error(id + ' can not be pressed'); }
    (shown[id].onclick || shown[id].onsubmit)({ preventDefault() {} });
  }
}

planted.split('; ').filter(Boolean).forEach((pair) => keep(pair + (pair.includes('lotline_csrf=') ? '' : '; HttpOnly')));
const shown = await load();
createInterface({ input: process.stdin }).on('line', (line) => {
  step(shown, JSON.parse(line));
  console.log(JSON.stringify({ shown, asked, cookies: written([...jar]) }));
}).on('close', () => process.exit(0));
console.log('loaded');
