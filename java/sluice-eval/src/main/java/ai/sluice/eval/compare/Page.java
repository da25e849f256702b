package ai.sluice.eval.compare;

/** Pages of HTML that need no other file, light or dark as the reader's system is. */
final class Page {
  private static final String STYLE =
      """
      :root{color-scheme:light dark;--bg:#fbfbfd;--card:#fff;--text:#1c2330;--dim:#667085;
      --line:#e4e7ec;--accent:#2463c9;--up:#12743f;--down:#b42318}
      @media(prefers-color-scheme:dark){:root{--bg:#12161d;--card:#1a2029;--text:#e6e9ef;
      --dim:#98a2b3;--line:#2c3542;--accent:#7cacf8;--up:#5dd39e;--down:#ff8f85}}
      *{box-sizing:border-box}
      body{margin:0 auto;padding:2rem 1.25rem;max-width:80rem;background:var(--bg);
      color:var(--text);font:15px/1.5 system-ui,sans-serif}
      h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:0 0 .5rem}
      .sub{color:var(--dim);margin:.1rem 0 1.5rem}
      .wide,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;
      overflow-x:auto;margin:0 0 1.25rem}
      .card{padding:1rem 1.25rem}
      table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
      th,td{padding:.5rem .9rem;text-align:right;border-bottom:1px solid var(--line);
      vertical-align:top;white-space:nowrap}
      th:first-child{text-align:left}tbody th{font-weight:500}
      thead th{color:var(--dim);font-weight:600;font-size:.9rem}
      tr:last-child>*{border-bottom:0}
      small{display:block;color:var(--dim);font-weight:400;font-size:.8rem}
      .up{color:var(--up)}.down{color:var(--down)}.same,.missing{color:var(--dim)}
      .missing{font-style:italic}
      p,li{color:var(--dim);font-size:.9rem}
      svg{display:block;width:100%;height:auto}svg text{fill:var(--dim);font-size:12px}
      .grid{stroke:var(--line)}.bar{stroke:var(--accent);stroke-width:2;opacity:.55}
      .way{fill:none;stroke:var(--accent);stroke-width:2}.dot{fill:var(--accent)}
      """;

  private Page() {}

  /** A page whose {@code body} is HTML; title and line below it are text. */
  static String of(String title, String line, String body) {
    return "<!doctype html>\n<html lang=en><meta charset=utf-8>"
        + "<meta name=viewport content=\"width=device-width,initial-scale=1\">\n<title>"
        + escaped(title) + "</title>\n<style>\n" + STYLE + "</style>\n<body>\n<h1>"
        + escaped(title) + "</h1>\n<p class=sub>" + escaped(line) + "</p>\n" + body
        + "</body></html>\n";
  }

  static String escaped(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        .replace("\"", "&quot;");
  }
}
