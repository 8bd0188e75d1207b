// browser.mjs: what the browser tests share: a server, a browser with a WebGPU on the CPU, a page that has doppler-web.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { makeServer } from '../../tools/serve.mjs';

const PAGE = '<!doctype html><meta charset="utf-8"><title>doppler tests</title><link rel="icon" href="data:,"><script type="module">' +
  "import * as doppler from '/web/index.js'; globalThis.doppler = doppler; globalThis.Doppler = doppler.Doppler; globalThis.ready = true;</script>";

export const CHROMIUM_FLAGS = ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-quic',
  '--enable-precise-memory-info'];

/** A server on a free port; `handle` as in serve.mjs. */
export async function startServer(handle = async () => false) {
  const server = makeServer(async (request, response) => {
    if (await handle(request, response)) return true;
    if (request.url !== '/test.html') return false;
    response.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE);
    return true;
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.address_ = `http://localhost:${server.address().port}`;
  return server;
}

/** Chromium with a profile of its own, so that its storage lasts from page to page and ends with the test. */
export async function startChromium({ flags = [], ...options } = {}) {
  const profile = mkdtempSync(join(tmpdir(), 'doppler-chromium-'));
  const context = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true,
    args: [...CHROMIUM_FLAGS, ...flags], ...options });
  context.setDefaultTimeout(300000);
  const close = context.close.bind(context);
  context.close = async () => {
    await close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
  };
  return context;
}

/** A page on which Doppler is there. */
export async function openPage(context, server) {
  const page = await context.newPage();
  page.setDefaultTimeout(300000);
  page.on('console', (message) => process.env.VERBOSE && console.log(`  [page] ${message.text()}`));
  page.on('pageerror', (error) => console.log(`  [page error] ${error.stack ?? error}`));
  await page.goto(`${server.address_}/test.html`);
  await page.waitForFunction(() => globalThis.ready);
  return page;
}

/** Runs `action` and says how many milliseconds of processor time the longest task of a page's thread took meanwhile. The browser's
 * own "longtask" entries tell the time on the clock, which on a busy machine is mostly that of other programs. */
export async function longestTask(page, action) {
  const devtools = await page.context().newCDPSession(page), events = [];
  devtools.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await devtools.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: ['toplevel'], excludedCategories: ['*'] } });
  const result = await action();
  await page.evaluate(() => {}); // a trace lacks what has not ended: by the next task the one that answered has
  const complete = new Promise((resolve) => devtools.once('Tracing.tracingComplete', resolve));
  await devtools.send('Tracing.end');
  await complete;
  await devtools.detach();
  const thread = ({ pid, tid }) => `${pid} ${tid}`;
  const pages = new Set(events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(thread));
  const tasks = events.filter((event) => event.name === 'ThreadControllerImpl::RunTask' && 'tdur' in event && pages.has(thread(event)));
  expect(tasks.length > 0, 'the trace has no task of a page');
  return { result, longest: tasks.reduce((most, { tdur }) => Math.max(most, tdur / 1000), 0) };
}

// ---- a small runner with the result line that tests/run.sh reads ----

const tests = [];
export const test = (name, run) => tests.push({ name, run });

export function expect(condition, message) {
  if (!condition) throw new Error(message);
}

export async function runTests() {
  let passed = 0, failed = 0;
  const filter = process.argv.slice(2);
  for (const { name, run } of tests) {
    if (filter.length && !filter.some((part) => name.includes(part))) continue;
    const start = performance.now();
    try {
      await run();
      passed++;
      console.log(`ok   ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${error.stack ?? error}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed || !passed ? 1 : 0);
}
