"""A list as MyAnimeList writes its export file."""

_ENTRY = """
	<anime>
		<series_animedb_id>{anime_id}</series_animedb_id>
		<series_title><![CDATA[{title}]]></series_title>
		<series_type>TV</series_type>
		<series_episodes>26</series_episodes>
		<my_id>0</my_id>
		<my_watched_episodes>26</my_watched_episodes>
		<my_start_date>2012-05-01</my_start_date>
		<my_finish_date>0000-00-00</my_finish_date>
		<my_rated></my_rated>
		<my_score>{score}</my_score>
		<my_storage></my_storage>
		<my_storage_value>0.00</my_storage_value>
		<my_status>{status}</my_status>
		<my_comments><![CDATA[]]></my_comments>
		<my_times_watched>{times}</my_times_watched>
		<my_rewatch_value></my_rewatch_value>
		<my_priority>LOW</my_priority>
		<my_tags><![CDATA[]]></my_tags>
		<my_rewatching>0</my_rewatching>
		<my_rewatching_ep>0</my_rewatching_ep>
		<my_discuss>1</my_discuss>
		<my_sns>default</my_sns>
		<update_on_import>0</update_on_import>
	</anime>
"""

_FILE = """<?xml version="1.0" encoding="UTF-8" ?>
<!--
 Created by XML Export feature at MyAnimeList.net
 Programmed by Xinil
 Last updated 5/27/2008
-->

<myanimelist>

	<myinfo>
		<user_id>366396</user_id>
		<user_name>somebody</user_name>
		<user_export_type>1</user_export_type>
		<user_total_anime>5</user_total_anime>
		<user_total_watching>1</user_total_watching>
		<user_total_completed>1</user_total_completed>
		<user_total_onhold>1</user_total_onhold>
		<user_total_dropped>1</user_total_dropped>
		<user_total_plantowatch>1</user_total_plantowatch>
	</myinfo>
{entries}
</myanimelist>
"""


def entry(
    anime_id: int | str, title: str, score: int | str, status: str, times: int | str = 0
) -> str:
    """One anime; a title is in CDATA."""
    return _ENTRY.format(anime_id=anime_id, title=title, score=score, status=status, times=times)


def exported(*entries: str) -> bytes:
    """The file."""
    return _FILE.format(entries="".join(entries)).encode()
