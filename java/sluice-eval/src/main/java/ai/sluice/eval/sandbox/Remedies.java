package ai.sluice.eval.sandbox;

import java.util.Locale;

/** Why the interpreter did not begin, in the words of what failed, and what helps. */
final class Remedies {
  private static final int MOST_SHOWN = 300;

  private Remedies() {}

  static String of(SandboxedProcess.End end) {
    String said = end.output().strip().replaceAll("\\s+", " ");
    if (said.length() > MOST_SHOWN) {
      said = said.substring(0, MOST_SHOWN) + "...";
    }
    if (end.late()) {
      said = ("it did not begin in time " + said).strip();
    } else if (said.isEmpty()) {
      said = "it ended with status " + end.status();
    }
    return "the sandbox does not work here: " + said + " (remedy: " + remedy(said) + "; or "
        + BubblewrapRunner.ELSEWHERE + ")";
  }

  private static String remedy(String said) {
    String words = said.toLowerCase(Locale.ROOT);
    if (words.contains("namespace") || words.contains("uid map") || words.contains("gid map")) {
      return "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, on Ubuntu"
          + " kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for bwrap, in"
          + " a container a seccomp profile that lets it call clone and unshare";
    }
    if (words.contains("setpriv")) {
      return "run as another user than root, or give the container the right to change users";
    }
    if (words.contains("mount") || words.contains("pivot")) {
      return "let the container mount file systems in its user namespaces";
    }
    if (words.contains("seccomp") || words.contains("prctl")) {
      return "run a Linux kernel with CONFIG_SECCOMP_FILTER";
    }
    if (words.contains("option")) {
      return "bubblewrap 0.8 or later";
    }
    return "'bwrap --unshare-all --ro-bind / / /bin/true' shows whether bubblewrap works at all";
  }
}
