//! Words that stand in every text of a language and tell nothing about it, folded, and those of questions.

/// French.
pub(super) const FRENCH: &str = "a ai ainsi alors apres as au aucun aucune aussi autre autres aux avait avant avec avez avoir avons c ca ce ceci cela celle celles celui ces cet cette
 ceux chaque chez ci comme comment d dans de depuis des dessus dit doit donc dont du elle elles en encore entre es est et etaient etait etant ete etre eu eux fait faire font furent fut
 hors ici il ils j je jusqu jusque l la laquelle le lequel les lesquelles lesquels leur leurs lors lorsque lui m ma mais me meme memes mes moi mon n ne ni nos notre nous on ont ou par
 parce pas pendant peu peut plus pour pourquoi pouvoir puis qu quand que quel quelle quelles quels qui quoi s sa sans se selon sera ses si sinon soit son sont sous sur t ta tandis tant te
 tel telle telles tels tes toi ton tous tout toute toutes tres tu un une vers voici voila vos votre vous y";

/// English.
pub(super) const ENGLISH: &str = "a about after all also an and any are as at be because been before being between both but by can could did do does doing down during each few for from
 further had has have having he her here him his how i if in into is it its itself just me more most my no nor not of off on once only or other our out over own same she should so some such
 t than that the their them then there these they this those through to too under until up very was we were what when where which while who whom why will with would you your";
