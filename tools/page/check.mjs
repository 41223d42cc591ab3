// Looks at the page of a comparison in a browser: node check.mjs PAGE.html [FOLDER]
//
// In both languages, light and dark, wide and narrow, with scripts and without: axe-core finds nothing, nothing is wider than the window, nothing is
// loaded, the policy refuses nothing of the page's own. Filters, count, search and the choice of language do what they say. Screenshots and a PDF of each
// language are left in FOLDER (./seen unless given). CHROMIUM names the browser (/usr/bin/chromium unless set).
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const [file, folder = 'seen'] = process.argv.slice(2);
if (!file) {
  console.error('usage: node check.mjs PAGE.html [FOLDER]');
  process.exit(2);
}
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const work = mkdtempSync(join(tmpdir(), 'page-'));
mkdirSync(folder, { recursive: true });

// A page without its script, to run axe on where scripts are off: axe is a script itself.
const markup = readFileSync(file, 'utf8');
const scriptless = join(work, 'scriptless.html');
writeFileSync(scriptless, markup.replace(/<script>[\s\S]*<\/script>/, ''));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const failures = [];
const expect = (holds, what) => { if (!holds) failures.push(what); };

async function open(options, source, name) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const own = pathToFileURL(resolve(source)).href;
  page.on('request', (request) => expect(request.url().split('#')[0] === own, `${name}: it asks for ${request.url()}`));
  page.on('console', (message) => expect(!['error', 'warning'].includes(message.type()), `${name}: ${message.text()}`));
  page.on('pageerror', (error) => expect(false, `${name}: ${error}`));
  await page.goto(own);
  return { context, page };
}

const sizes = { wide: { width: 1280, height: 900 }, narrow: { width: 375, height: 800 } };
for (const scripts of [true, false]) {
  for (const language of ['en', 'fr']) {
    for (const colorScheme of ['light', 'dark']) {
      for (const [size, viewport] of Object.entries(sizes)) {
        const name = [scripts ? 'scripts' : 'no-scripts', language, colorScheme, size].join('-');
        const { context, page } = await open({ viewport, colorScheme }, scripts ? file : scriptless, name);
        await page.locator(`label[for=language-${language}]`).click();
        // Parts that are closed or far below are looked at as well.
        await page.evaluate(() => { for (const part of document.querySelectorAll('details')) part.open = true; });
        await page.evaluate(() => { for (const part of document.querySelectorAll("article")) part.style.contentVisibility = "visible"; });
        await page.evaluate(axe);
        const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations', 'incomplete'] }));
        const ids = found.violations.map((one) => `${one.id} (${one.nodes.length}: ${one.nodes[0].target})`);
        console.log(`axe ${name}: ${found.violations.length} violations, ${found.passes.length} rules passed, ${found.incomplete.length} to be looked at`);
        expect(ids.length === 0, `${name}: ${ids.join(', ')}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        expect(overflow <= 0, `${name}: ${overflow} pixels wider than the window`);
        await page.evaluate(() => { for (const part of document.querySelectorAll('details')) part.open = false; });
        if (scripts) {
          const height = await page.evaluate(() => document.documentElement.scrollHeight);
          await page.setViewportSize({ width: viewport.width, height: Math.min(height, 8000) });
          await page.screenshot({ path: join(folder, `${name}.png`) });
        }
        await context.close();
      }
    }
  }
}

{
  // Without scripts the language is chosen all the same, everything is listed, and no form pretends to filter.
  const { context, page } = await open({ javaScriptEnabled: false, viewport: sizes.wide }, file, 'javascript off');
  for (const language of ['fr', 'en']) {
    await page.locator(`label[for=language-${language}]`).click();
    const other = language === 'fr' ? 'en' : 'fr';
    expect(await page.locator(`h1 .${language}`).isVisible() && !await page.locator(`h1 .${other}`).isVisible(), `javascript off: ${language} is not shown alone`);
  }
  const n = await page.locator('article').count();
  expect(n === await page.locator('article:not([hidden])').count(), 'javascript off: questions are hidden');
  expect(n === 0 || !await page.locator('#filters').isVisible(), 'javascript off: filters are shown');
  await context.close();
}

{
  const { context, page } = await open({ viewport: sizes.wide }, file, 'filters');
  const total = await page.locator('article').count();
  const shown = () => page.locator('article:not([hidden])').count();
  const settled = () => page.waitForTimeout(250);
  await page.locator('label[for=language-en]').click();
  if (total > 0) {
    expect((await page.locator('#count').textContent()).startsWith(`${total.toLocaleString('en')} of `), 'filters: the count of all');
    for (const value of await page.locator('#filter-outcome option').evaluateAll((options) => options.map((option) => option.value))) {
      await page.locator('#filter-outcome').selectOption(value);
      await settled();
      const wanted = value ? await page.locator(`article[data-o~="${value}"]`).count() : total;
      expect(await shown() === wanted, `filters: ${value || 'all'} shows ${await shown()}, not ${wanted}`);
    }
    await page.locator('#filters button[type=reset]').click();
    await settled();
    const text = (await page.locator('article h3').last().textContent()).trim();
    await page.locator('#filter-text').fill(text.toUpperCase());
    await settled();
    const n = await shown();
    expect(n >= 1 && (n < total || total === 1), `filters: the text of one question shows ${n}`);
    await page.locator('label[for=language-fr]').click();
    expect((await page.locator('#count').textContent()).includes('affichée'), 'filters: the count in French');
    expect(await page.evaluate(() => document.documentElement.lang) === 'fr' && (await page.title()).startsWith('Comparaison'), 'filters: the title in French');
    await page.locator('#filters').screenshot({ path: join(folder, 'filters.png') });
    await page.locator('#filters button[type=reset]').click();
    await settled();
    expect(await shown() === total, 'filters: not everything after a reset');
    await page.locator('article').first().scrollIntoViewIfNeeded();
    await page.screenshot({ path: join(folder, 'questions-wide.png') });
    await page.setViewportSize(sizes.narrow);
    await page.locator('article').first().scrollIntoViewIfNeeded();
    await page.screenshot({ path: join(folder, 'questions-narrow.png') });
  }
  for (const language of ['en', 'fr']) {
    await page.locator(`label[for=language-${language}]`).click();
    await page.pdf({ path: join(folder, `print-${language}.pdf`), format: 'A4', preferCSSPageSize: true });
  }
  await context.close();
}

await browser.close();
rmSync(work, { recursive: true });
console.log(failures.length === 0 ? 'all is well' : failures.map((what) => `FAILED ${what}`).join('\n'));
process.exit(failures.length === 0 ? 0 : 1);
