#!/usr/bin/env bash
# Builds and runs the consumer project as a user would: `./sluice install` into an empty local
# repository, then a build that can see Sluice nowhere else.
#
# Third-party artifacts that this machine has already downloaded are offered as a remote repository of
# files, without those of Sluice; anything else comes from where Maven usually gets it.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$here/../..
root=$(readlink -f "$root")
work=$root/target/consumer
repository=$work/repository
downloads=$work/downloads

rm -rf "$work"
mkdir -p "$repository" "$downloads/ai"
user_home=$(getent passwd "$(id -u)" | cut -d: -f6)
for entry in "${user_home:-$HOME}"/.m2/repository/* "${user_home:-$HOME}"/.m2/repository/ai/*; do
  case $entry in
    */repository/ai | */repository/ai/sluice | *\*) ;;
    */repository/ai/*) ln -s "$entry" "$downloads/ai/" ;;
    *) ln -s "$entry" "$downloads/" ;;
  esac
done
cat >"$work/settings.xml" <<XML
<settings>
  <profiles>
    <profile>
      <id>downloads</id>
      <repositories>
        <repository>
          <id>downloads</id><url>file://${downloads// /%20}</url>
          <snapshots><enabled>false</enabled></snapshots>
        </repository>
      </repositories>
      <pluginRepositories>
        <pluginRepository>
          <id>downloads</id><url>file://${downloads// /%20}</url>
          <snapshots><enabled>false</enabled></snapshots>
        </pluginRepository>
      </pluginRepositories>
    </profile>
  </profiles>
  <activeProfiles><activeProfile>downloads</activeProfile></activeProfiles>
</settings>
XML

"$root/sluice" install -s "$work/settings.xml" "-Dmaven.repo.local=$repository"

versions=()
while IFS= read -r version; do
  versions+=("$version")
done < <(sed -nE 's:^ *<((junit|plugin\.[a-z-]+)\.version)>(.*)</.*:-D\1=\3:p' "$root/pom.xml")
cp -r "$here/pom.xml" "$here/src" "$work/"
cd "$work"
exec mvn -B -ntp -Dstyle.color=never -s settings.xml "-Dmaven.repo.local=$repository" \
  "${versions[@]}" "-Dconsumer.model=$root/tests/golden/tiny_chat.gguf" test
