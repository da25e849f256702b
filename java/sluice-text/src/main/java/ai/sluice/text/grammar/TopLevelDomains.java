package ai.sluice.text.grammar;

/**
 * Ends of mail addresses: the countries' and the best known others. Validators that know the list
 * of all accept these; a made-up one they refuse.
 */
final class TopLevelDomains {
  private static final String NAMES =
      "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn "
          + "bo br bs bt bv bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de "
          + "dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge gf gg gh gi gl gm "
          + "gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo "
          + "jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg "
          + "mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu "
          + "nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg "
          + "sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr "
          + "tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw com org net "
          + "edu gov mil int info biz name pro aero coop museum jobs mobi travel tel cat asia app "
          + "dev cloud online site shop store tech blog xyz club agency email company digital "
          + "group live media network news page solutions space systems team today tools top "
          + "website wiki work world zone";

  private TopLevelDomains() {}

  /** An expression that matches each of them. */
  static String expression() {
    return "(?:" + NAMES.replace(' ', '|') + ")";
  }
}
