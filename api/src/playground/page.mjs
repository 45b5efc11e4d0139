// The playground's page: what stands where, and what its buttons do. How requests say who asks is the door's matter.

import { Door, refusal } from './door.mjs';

const at = (id) => document.getElementById(id);
const { mode, signOn } = document.documentElement.dataset;
const examples = JSON.parse(at('operations').textContent);
const door = new Door(mode === 'enforced');
const MOST_SHOWN = 200;
const ME = '{ me { actor user { name } memberships { site roles } } }';
const INTROSPECTION = '{__schema{queryType{name} mutationType{name} subscriptionType{name} types{name kind description fields{name description args{name type{...T}} type{...T}} inputFields{name description type{...T}} enumValues{name}}}} fragment T on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}';

function say(text, bad) { at('status').textContent = text; at('status').className = bad ? 'bad' : ''; }

function uuid7() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let i = 5; i >= 0; i--) { bytes[i] = time % 256; time = Math.floor(time / 256); }
  bytes[6] = (bytes[6] & 15) | 112; bytes[8] = (bytes[8] & 63) | 128;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

// Who asks.

/** The typed credential counts from the moment of the next request. */
function ready() { door.given = at(door.enforced ? 'pasted' : 'actor').value.trim(); }

function greet(me) {
  at('sign-in').hidden = Boolean(me); at('signed-in').hidden = !me;
  if (!me) { return; }
  const roles = me.memberships.map(({ site, roles }) => roles.join(', ') + (site ? ' at ' + site : ''));
  at('whoami').textContent = (me.user && me.user.name || me.actor) + (roles.length ? ' (' + roles.join('; ') + ')' : '');
}

/** Shows who has signed in, or how to. Without cookies nobody is asked: each refusal would stand in the audit trail. */
async function look() {
  if (!door.byCookie || !door.isSignedIn) { return greet(null); }
  const answer = await door.ask({ query: ME });
  if (answer.status === 401) { return greet(null); }
  if (!answer.ok) { return say((await refusal(answer)).message, true); }
  const { data } = await answer.json();
  greet(data && data.me);
}

async function signIn(event) {
  event.preventDefault();
  at('pasted').value = ''; ready();
  try {
    await door.signIn(at('email').value, at('password').value);
    at('password').value = '';
    await look(); say('signed in');
  } catch (error) { say(error.message, true); }
}

async function signOut() {
  stop(); ready();
  try { await door.signOut(); greet(null); at('result').textContent = ''; say('signed out'); } catch (error) { say(error.message, true); }
}

// Operations.

let running = null;
function stop() { if (running) { running.abort(); running = null; } at('stop').disabled = true; }

function variables() {
  const code = 'MILK-' + uuid7().slice(-12);
  return JSON.parse(at('variables').value || '{}', (key, value) => value === '$uuid7' ? uuid7() : value === '$code' ? code : value);
}

async function run() {
  stop(); ready();
  let operation;
  try { operation = { query: at('query').value, variables: variables() }; } catch (error) { return say('the variables are not JSON: ' + error.message, true); }
  const control = running = new AbortController();
  const streaming = /^\s*(#[^\n]*\n\s*)*subscription\b/.test(operation.query);
  at('result').textContent = ''; at('stop').disabled = false; say(streaming ? 'listening…' : 'running…');
  try { await (streaming ? follow(operation, control.signal) : once(operation, control.signal)); } catch (error) {
    say(error.name === 'AbortError' ? 'stopped' : String(error), error.name !== 'AbortError');
  }
  if (running === control) { running = null; at('stop').disabled = true; }
}

async function once(operation, signal) {
  const started = performance.now();
  await tell(await door.ask(operation, 'application/graphql-response+json, application/json', signal), started);
}

async function tell(response, started) {
  const answer = await response.json();
  at('result').textContent = JSON.stringify(answer, null, 2);
  say(response.status + ' · ' + Math.round(performance.now() - started) + ' ms · correlation ' + response.headers.get('x-correlation-id'), Boolean(answer.errors));
  if (response.status === 401 && door.byCookie) { greet(null); }
}

/** A stream ends with the access token under it; by cookies it is opened again with the next one, after what has come where the operation asks for `$after`. */
async function follow(operation, signal) {
  const started = performance.now(), feed = { shown: [], count: 0 };
  for (;;) {
    const response = await door.ask(operation, 'text/event-stream', signal);
    if (!(response.headers.get('content-type') || '').startsWith('text/event-stream')) { return tell(response, started); }
    const ended = await listen(response, feed);
    if (ended !== 'TOKEN_EXPIRED' || !door.byCookie || !await door.renew()) { return say(feed.count + ' items, the stream has ended' + (ended ? ': ' + ended : ''), Boolean(ended)); }
    say(feed.count + ' items; listening again with the next access token');
    if (feed.position && /\$after\b/.test(operation.query)) { operation = { ...operation, variables: { ...operation.variables, after: feed.position } }; }
  }
}

/** Shows what comes until the end; gives the code of the error with which it ended, if any. */
async function listen(response, feed) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '', ended;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) { return ended; }
    const events = (rest + value).split('\n\n'); rest = events.pop();
    for (const event of events) {
      const item = next(event);
      if (!item) { continue; }
      ended = item.errors && item.errors[0].extensions && item.errors[0].extensions.code;
      if (ended === 'TOKEN_EXPIRED' && door.byCookie) { continue; }
      feed.position = position(item) || feed.position;
      feed.count += 1; feed.shown.unshift(JSON.stringify(item, null, 2));
      if (feed.shown.length > MOST_SHOWN) { feed.shown.pop(); }
    }
    at('result').textContent = feed.shown.join('\n\n'); say(feed.count + ' items, the newest first');
  }
}

/** Where a listener that has this item goes on. */
function position({ data }) { return data && Object.values(data).map((value) => value && value.position).find((text) => typeof text === 'string'); }

/** The result in an event, if it has one. */
function next(event) {
  const lines = event.split('\n');
  if (!lines.some((line) => /^event: ?next$/.test(line))) { return null; }
  return JSON.parse(lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim()).join('\n'));
}

async function schema() {
  stop(); ready(); say('reading the schema…');
  const started = performance.now(), response = await door.ask({ query: INTROSPECTION });
  if (!response.ok) { return tell(response, started); }
  const answer = await response.json();
  if (!answer.data) { at('result').textContent = JSON.stringify(answer, null, 2); return say('the schema can not be read', true); }
  const types = answer.data.__schema.types.filter((t) => !t.name.startsWith('__') && t.kind !== 'SCALAR');
  at('result').textContent = written(types);
  say(types.length + ' types');
}

function written(types) {
  const type = (t) => t.kind === 'NON_NULL' ? type(t.ofType) + '!' : t.kind === 'LIST' ? '[' + type(t.ofType) + ']' : t.name;
  const field = (f) => '  ' + f.name + (f.args && f.args.length ? '(' + f.args.map((a) => a.name + ': ' + type(a.type)).join(', ') + ')' : '') + ': ' + type(f.type) + (f.description ? '   # ' + f.description.replace(/\s+/g, ' ') : '');
  const roots = ['Query', 'Mutation', 'Subscription'];
  types.sort((a, b) => (roots.includes(b.name) - roots.includes(a.name)) || a.name.localeCompare(b.name));
  return types.map((t) => t.kind.toLowerCase() + ' ' + t.name + (t.enumValues ? ' { ' + t.enumValues.map((v) => v.name).join(' ') + ' }' : ' {\n' + (t.fields || t.inputFields || []).map(field).join('\n') + '\n}')).join('\n\n');
}

function show(name) { at('query').value = examples[name][0]; at('variables').value = JSON.stringify(examples[name][1], null, 2); }

at(door.enforced ? 'door' : 'development').hidden = false;
at('sign-on').hidden = signOn !== 'true';
for (const name of Object.keys(examples)) { at('examples').append(new Option(name, name)); }
at('examples').onchange = (event) => show(event.target.value);
at('sign-in').onsubmit = signIn; at('sign-out').onclick = signOut;
at('run').onclick = run; at('stop').onclick = stop; at('schema').onclick = () => schema().catch((error) => say(String(error), true));
document.onkeydown = (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } };
show('lots');
look().catch((error) => say(String(error), true));
